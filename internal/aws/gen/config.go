package main

// service says what is generated for one service and where it deviates from its model.
type service struct {
	pkg            string   // name of the generated package
	model          string   // folder under models/apis/<model>, or a file of ours ("models/….json")
	operations     []string // the operations to generate; empty means all of the model
	validationCode string   // error code of a constraint violation
	client         bool     // also generate a client

	// free lists string shapes whose pattern or enumeration is not enforced: the service's own code checks them.
	free []string
	// whole lists string shapes whose pattern must match the whole value. Clients match patterns unanchored, so that
	// is the default; but these values become parts of ARNs, names and command lines.
	whole []string
}

// services is everything that is generated.
var services = []service{
	{
		pkg: "apprunner", model: "apprunner", validationCode: "InvalidRequestException",
		// Any registry may be named with type ECR_PUBLIC, so the two forms of the model do not bind.
		free: []string{"ImageIdentifier"},
		whole: []string{
			"AppRunnerResourceArn", "AutoScalingConfigurationName", "BuildCommand", "ConnectionName", "DomainName",
			"ObservabilityConfigurationName", "RoleArn", "ServiceName", "SourceDirectory", "StartCommand", "VpcConnectorName",
			"VpcIngressConnectionName",
		},
	},
	{
		pkg: "ecr", model: "ecr", validationCode: "InvalidParameterException",
		operations: []string{
			"BatchDeleteImage", "BatchGetImage", "CreateRepository", "DeleteLifecyclePolicy", "DeleteRepository",
			"DeleteRepositoryPolicy", "DescribeImages", "DescribeRegistry", "DescribeRepositories", "GetAuthorizationToken",
			"GetLifecyclePolicy", "GetRepositoryPolicy", "ListImages", "ListTagsForResource", "PutImage",
			"PutImageScanningConfiguration", "PutImageTagMutability", "PutLifecyclePolicy", "SetRepositoryPolicy",
			"TagResource", "UntagResource",
		},
		whole: []string{"RegistryId", "RepositoryName"},
	},
	{
		pkg: "ecrpublic", model: "ecr-public", validationCode: "InvalidParameterException",
		operations: []string{"GetAuthorizationToken"},
	},
	{
		pkg: "logs", model: "logs", validationCode: "InvalidParameterException",
		operations: []string{
			"CreateLogGroup", "CreateLogStream", "DeleteLogGroup", "DeleteLogStream", "DeleteRetentionPolicy",
			"DescribeLogGroups", "DescribeLogStreams", "FilterLogEvents", "GetLogEvents", "ListTagsForResource",
			"ListTagsLogGroup", "PutLogEvents", "PutRetentionPolicy", "TagLogGroup", "TagResource", "UntagLogGroup",
			"UntagResource",
		},
		whole: []string{"AccountId", "LogGroupIdentifier", "LogGroupName", "LogGroupNamePattern", "LogStreamName"},
	},
	{
		pkg: "sts", model: "sts", validationCode: "ValidationError",
		operations: []string{"GetCallerIdentity"},
	},
	{
		pkg: "iam", model: "iam", validationCode: "ValidationError",
		operations: []string{"GetUser"},
		whole:      []string{"existingUserNameType"},
	},
	{
		pkg: "ec2", model: "ec2", validationCode: "InvalidParameterValue",
		// Types of instances come more often than models, which also never listed all attributes of accounts.
		free: []string{"AccountAttributeName", "InstanceType"},
		operations: []string{
			"AllocateAddress", "AssignPrivateIpAddresses", "AssociateAddress", "AssociateDhcpOptions", "AssociateRouteTable",
			"AssociateVpcCidrBlock", "AttachInternetGateway", "AttachNetworkInterface", "AuthorizeSecurityGroupEgress",
			"AuthorizeSecurityGroupIngress", "CreateDefaultSubnet", "CreateDefaultVpc", "CreateDhcpOptions", "CreateFlowLogs",
			"CreateInternetGateway", "CreateKeyPair", "CreateManagedPrefixList", "CreateNatGateway", "CreateNetworkAcl",
			"CreateNetworkAclEntry", "CreateNetworkInterface", "CreateRoute", "CreateRouteTable", "CreateSecurityGroup",
			"CreateSubnet", "CreateTags", "CreateVpc", "CreateVpcEndpoint", "DeleteDhcpOptions", "DeleteFlowLogs",
			"DeleteInternetGateway", "DeleteKeyPair", "DeleteManagedPrefixList", "DeleteNatGateway", "DeleteNetworkAcl",
			"DeleteNetworkAclEntry", "DeleteNetworkInterface", "DeleteRoute", "DeleteRouteTable", "DeleteSecurityGroup",
			"DeleteSubnet", "DeleteTags", "DeleteVolume", "DeleteVpc", "DeleteVpcEndpoints", "DescribeAccountAttributes",
			"DescribeAddresses", "DescribeAddressesAttribute", "DescribeAvailabilityZones", "DescribeDhcpOptions",
			"DescribeFlowLogs", "DescribeImages", "DescribeInstanceAttribute", "DescribeInstanceCreditSpecifications",
			"DescribeInstanceStatus", "DescribeInstanceTypes", "DescribeInstances", "DescribeInternetGateways",
			"DescribeKeyPairs", "DescribeManagedPrefixLists", "DescribeNatGateways", "DescribeNetworkAcls",
			"DescribeNetworkInterfaceAttribute", "DescribeNetworkInterfaces", "DescribePrefixLists", "DescribeRegions",
			"DescribeRouteTables", "DescribeSecurityGroupReferences", "DescribeSecurityGroupRules", "DescribeSecurityGroups",
			"DescribeStaleSecurityGroups", "DescribeSubnets", "DescribeTags", "DescribeVolumes", "DescribeVolumesModifications", "DescribeVpcAttribute",
			"DescribeVpcEndpointServices", "DescribeVpcEndpoints", "DescribeVpcs", "DetachInternetGateway",
			"DetachNetworkInterface", "DisassociateAddress", "DisassociateRouteTable", "DisassociateVpcCidrBlock",
			"GetConsoleOutput", "GetManagedPrefixListAssociations", "GetManagedPrefixListEntries", "ImportKeyPair",
			"ModifyInstanceAttribute", "ModifyInstanceCreditSpecification", "ModifyInstanceMetadataOptions",
			"ModifyManagedPrefixList", "ModifyNetworkInterfaceAttribute", "ModifySecurityGroupRules", "ModifySubnetAttribute",
			"ModifyVolume", "ModifyVpcAttribute", "ModifyVpcEndpoint", "MonitorInstances", "RebootInstances", "ReleaseAddress",
			"ReplaceNetworkAclAssociation", "ReplaceNetworkAclEntry", "ReplaceRoute", "ReplaceRouteTableAssociation",
			"ResetNetworkInterfaceAttribute", "RestoreManagedPrefixListVersion", "RevokeSecurityGroupEgress",
			"RevokeSecurityGroupIngress", "RunInstances", "StartInstances", "StopInstances", "TerminateInstances",
			"UnassignPrivateIpAddresses", "UnmonitorInstances", "UpdateSecurityGroupRuleDescriptionsEgress",
			"UpdateSecurityGroupRuleDescriptionsIngress",
		},
	},
	{
		pkg: "funade", model: "models/funade-2026-11-01.json", validationCode: "ValidationException",
		client: true, whole: []string{"AppRunnerResourceArn"},
	},
}
